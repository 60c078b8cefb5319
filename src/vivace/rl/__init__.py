"""Reinforcement learning through the harness: rollouts, rewards, advantages, the policy loss, the loop."""

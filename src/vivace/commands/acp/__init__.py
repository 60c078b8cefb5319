"""`vivace acp`: the agent for editors that speak the Agent Client Protocol (Zed, JetBrains, Neovim, ...)."""

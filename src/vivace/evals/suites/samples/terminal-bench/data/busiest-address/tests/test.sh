#!/bin/bash
mkdir -p /logs/verifier
if [ "$(cat /app/busiest.txt 2>/dev/null)" = "10.0.0.31" ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt

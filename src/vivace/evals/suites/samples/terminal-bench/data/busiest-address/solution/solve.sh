#!/bin/bash
set -euo pipefail
cd /app
cut -d' ' -f1 access.log | LC_ALL=C sort | uniq -c | LC_ALL=C sort -k1,1nr -k2,2 | head -n 1 | sed 's/^ *[0-9]* //' > busiest.txt

#!/bin/bash
mkdir -p /logs/verifier
wanted=$'HOST=0.0.0.0\nLEVEL=info\nPORT=8080\nTOKEN=a=b'
right=0
[ "$(cat /srv/conf/merged.env 2>/dev/null)" = "$wanted" ] && right=1
echo "{\"reward\": $right, \"exists\": $([ -e /srv/conf/merged.env ] && echo 1 || echo 0)}" > /logs/verifier/reward.json

#!/bin/bash
set -euo pipefail
cd /srv/conf
cat local.env defaults.env | grep -v -e '^#' -e '^$' | while IFS= read -r line; do
  key=${line%%=*}
  case " ${seen:-} " in *" $key "*) continue ;; esac
  seen="${seen:-} $key"
  echo "$line"
done | LC_ALL=C sort > merged.env

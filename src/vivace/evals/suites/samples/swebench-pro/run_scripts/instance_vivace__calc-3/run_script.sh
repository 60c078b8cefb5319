#!/bin/bash
python -m pytest -rA -p no:cacheprovider "$@"

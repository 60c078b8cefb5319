import json
import re
import sys

stdout, _, output = sys.argv[1:]
found = re.findall(r"^(PASSED|FAILED) (\S+)", open(stdout).read(), re.MULTILINE)
json.dump({"tests": [{"name": name, "status": status} for status, name in found]}, open(output, "w"))

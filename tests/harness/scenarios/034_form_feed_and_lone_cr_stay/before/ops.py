a = 1

b = "x\r"
# oldmac
c = 3

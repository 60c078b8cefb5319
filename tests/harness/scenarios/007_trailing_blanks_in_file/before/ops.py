def add(a, b):  
    return a - b	

x = 1

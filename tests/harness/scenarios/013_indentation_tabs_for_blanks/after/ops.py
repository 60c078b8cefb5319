class A:
	def f(self):
		if not self.x:
			return 1
		return 2

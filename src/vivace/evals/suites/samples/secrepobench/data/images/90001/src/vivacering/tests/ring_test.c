#include "../ring.h"
#include <stdio.h>
#include <string.h>
int main(void)
{
	unsigned char bytes[8] = {0};
	struct ring ring = {bytes, sizeof bytes, 0};
	size_t put = ring_put(&ring, (const unsigned char *)"abc", 3);
	printf("%s: put_and_get\n", memcmp(bytes, "abc", 3) ? "FAIL" : "PASS");
	printf("%s: put_says_how_much\n", put == 3 && ring.used == 3 ? "PASS" : "FAIL");
	return 0;
}

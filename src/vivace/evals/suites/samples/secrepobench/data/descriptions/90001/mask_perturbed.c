#include "ring.h"
#include <string.h>

size_t ring_put(struct ring *ring, const unsigned char *from, size_t count)
{
	// <MASK>
	return count;
}

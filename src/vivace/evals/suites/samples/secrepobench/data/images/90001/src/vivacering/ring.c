#include "ring.h"
#include <string.h>

size_t ring_put(struct ring *ring, const unsigned char *from, size_t count)
{
	size_t room = ring->size - ring->used;
	if (count > room)
		count = room;
	memcpy(ring->bytes + ring->used, from, count);
	ring->used += count;
	return count;
}

#include <stddef.h>
struct ring { unsigned char *bytes; size_t size, used; };
/* Appends up to `count` bytes; returns how many there was room for. */
size_t ring_put(struct ring *ring, const unsigned char *from, size_t count);

size_t ring_put(struct ring *ring, const unsigned char *from, size_t count)
{
	// Append the bytes after those in use, as many as there is room for, and count them.
	// <MASK>
	return count;
}

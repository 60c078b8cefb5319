"""The corpus: pinned wheels in, filtered and deduplicated documents out, packed as token shards.

Order of the pipeline: fetch, clean, filter, decontaminate, deduplicate, cap, scrub, tokenise (see docs/DATA.md).
"""

"""Text to token ids and back: the tokenizer, the chat renderer with its loss mask, fill-in-the-middle."""

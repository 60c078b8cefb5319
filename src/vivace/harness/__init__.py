"""The agent loop and its tools: the one harness of training, evaluation and the product. No torch here."""

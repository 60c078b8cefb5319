"""The server: OpenAI, Anthropic and Ollama APIs over models of this machine or of other endpoints."""

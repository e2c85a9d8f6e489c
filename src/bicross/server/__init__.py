"""Search for programs, people and assistants: HTTP, a page, metrics, MCP."""

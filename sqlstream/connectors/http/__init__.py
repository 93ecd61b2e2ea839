"""The web: connectors 'http' (polled, asked by key, written to), 'webhook' (listened for), 'websocket' and 'sse', by aiohttp, which is
client and server and speaks WebSockets: one dependency for all of them."""

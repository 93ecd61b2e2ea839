"""Connector 'alert': rows as notifications, by apprise, which knows a hundred services by their URLs."""

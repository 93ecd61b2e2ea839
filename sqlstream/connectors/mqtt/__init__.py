"""Connector 'mqtt': topics of MQTT brokers, by paho-mqtt."""

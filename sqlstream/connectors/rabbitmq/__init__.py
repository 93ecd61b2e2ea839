"""Connector 'rabbitmq': queues and streams of RabbitMQ over AMQP 0.9.1, by pika."""

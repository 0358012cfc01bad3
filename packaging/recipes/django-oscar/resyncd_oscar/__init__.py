"""What an Oscar shop needs for resyncd: idempotency keys, and products and orders by the terminals' identifiers."""

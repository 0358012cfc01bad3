from django.conf import settings
from django.db import models


class Key(models.Model):
    """An idempotency key, the user who sent it, and the response."""

    key = models.CharField(max_length=255, primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    request = models.CharField(max_length=255)
    status = models.PositiveSmallIntegerField()
    body = models.BinaryField()
    at = models.DateTimeField(auto_now_add=True)

"""Processes each Idempotency-Key once. Belongs into MIDDLEWARE after AuthenticationMiddleware.

The row of a key and the effect of its request are committed in one transaction. A repeated key gets the stored response
and has no effect. This works for every view below /api/, not only Oscar's.
"""
from django.db import IntegrityError, transaction
from django.http import HttpResponse, JsonResponse

from .models import Key


def each_key_once(get_response):
    def middleware(request):
        name = request.headers.get("Idempotency-Key")
        reads = request.method in ("GET", "HEAD", "OPTIONS")
        # The view itself rejects a request without a user.
        if not name or reads or not request.path.startswith("/api/") or not request.user.is_authenticated:
            return get_response(request)
        what = f"{request.method} {request.path}"[:255]
        known = Key.objects.filter(key=name).first()
        if known:
            if (known.user_id, known.request) != (request.user.pk, what):
                return JsonResponse({"detail": "This key came before, with another request."}, status=422)
            return HttpResponse(bytes(known.body), status=known.status, content_type="application/json")
        try:
            with transaction.atomic():
                # First, so that another request with this key waits here until this one is committed.
                key = Key.objects.create(key=name, user=request.user, request=what, status=0, body=b"")
                response = get_response(request)
                if response.status_code < 400:
                    Key.objects.filter(pk=key.pk).update(status=response.status_code, body=response.content)
                else:
                    transaction.set_rollback(True)
                return response
        except IntegrityError:
            return JsonResponse({"detail": "Another request with this key was committed first."}, status=503)

    return middleware

"""POST /DATABASE/resyncd/TYPE/ENTITY/ACTION with a key of a user application, and Idempotency-Key."""
from trytond.exceptions import ConcurrencyException, UserError, UserWarning
from trytond.pool import Pool
from trytond.protocols.jsonrpc import JSONDecoder, json
from trytond.protocols.wrappers import Response, user_application, with_pool, with_transaction
from trytond.transaction import Transaction
from trytond.wsgi import app

from .received import MODELS, AlreadyReceived


def answer(status, **body):
    return Response(json.dumps(body), status=status, content_type="application/json")


def undo(status, message):
    """Rolls back everything that this request did."""
    Transaction().rollback()
    return answer(status, message=message)


@app.route("/<database_name>/resyncd/<entity_type>/<entity_id>/<action>", methods=["POST"])
@with_pool
@with_transaction()
@user_application("resyncd")
def receive(request, pool, entity_type, entity_id, action):
    Received, User = pool.get("resyncd.received"), pool.get("res.user")
    key = request.headers.get("Idempotency-Key")
    if not key:
        return answer(400, message="Idempotency-Key is missing")
    if entity_type not in MODELS or action not in ("CREATE", "UPDATE", "DELETE"):
        return answer(422, message=f"{entity_type} {action} is not taken here")
    try:
        # Not request.data: werkzeug leaves it empty when the content type is a form.
        values = json.loads(request.get_data(parse_form_data=False) or b"null", object_hook=JSONDecoder())
        if action == "DELETE":
            values = {}
        elif not isinstance(values, dict):
            return answer(422, message="the payload is not a JSON object")
        with Transaction().set_context(User.get_preferences(context_only=True)):
            record, new = Received.receive(key, entity_type, entity_id, action, values)
    except (UserError, UserWarning, LookupError, TypeError, ValueError) as error:
        return undo(422, getattr(error, "message", None) or f"{type(error).__name__}: {error}")
    except (AlreadyReceived, ConcurrencyException) as error:
        return undo(503, f"another request with this key was committed first: {error}")
    return answer(201 if new else 200, id=record)

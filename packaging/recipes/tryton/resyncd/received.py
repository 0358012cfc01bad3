"""The requests received from terminals: each key once, with the record that it created or changed.

The row of a key and the effect of its request are committed in one transaction.
"""
from trytond.model import ModelSQL, Unique, fields
from trytond.model.exceptions import SQLConstraintError
from trytond.pool import Pool, PoolMeta

# The terminals' entity types and the models that they map to.
MODELS = {"CUSTOMER": "party.party", "SALE": "sale.sale"}


class Application(metaclass=PoolMeta):
    __name__ = "res.user.application"

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.application.selection.append(("resyncd", "resyncd"))


class AlreadyReceived(Exception):
    """Another request with this key was committed while this one was under way."""


class Received(ModelSQL):
    "Received from a terminal"
    __name__ = "resyncd.received"
    key = fields.Char("Key", required=True)
    entity_type = fields.Char("Entity type", required=True)
    entity_id = fields.Char("Entity", required=True)
    action = fields.Char("Action", required=True)
    record = fields.Integer("Record")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        table = cls.__table__()
        cls._sql_constraints.append(("key_once", Unique(table, table.key), "resyncd.msg_key_once"))

    @classmethod
    def known(cls, entity_type, entity_id):
        """The id of the record that was created for this entity, or None."""
        rows = cls.search([("entity_type", "=", entity_type), ("entity_id", "=", entity_id), ("action", "=", "CREATE")], limit=1)
        return rows[0].record if rows else None

    @classmethod
    def receive(cls, key, entity_type, entity_id, action, values):
        """Processes the request unless its key is known. Returns the record's id and whether it was processed now.

        A value such as "CUSTOMER:c-1" is replaced by the id of the record that was created for that entity.
        """
        for row in cls.search([("key", "=", key)]):
            return row.record, False
        Model = Pool().get(MODELS[entity_type])
        try:
            row, = cls.create([{"key": key, "entity_type": entity_type, "entity_id": entity_id, "action": action}])
        except SQLConstraintError as error:
            raise AlreadyReceived(key) from error
        for name, value in values.items():
            kind, _, entity = value.partition(":") if isinstance(value, str) else ("", "", "")
            if kind in MODELS and entity:
                values[name] = cls.known(kind, entity)
        if action == "CREATE":
            record = Model.create([values])[0].id
        else:
            record = cls.known(entity_type, entity_id)
            if record is None:
                raise LookupError(f"{entity_type} {entity_id} was never received")
            if action == "UPDATE":
                Model.write([Model(record)], values)
            elif entity_type == "SALE":  # Tryton deletes only cancelled sales; a cancelled one stays visible.
                Model.cancel([Model(record)])
            else:
                Model.delete([Model(record)])
        cls.write([row], {"record": record})
        return record, True

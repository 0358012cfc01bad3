"""Prepares a Tryton for the recipe, for a trial or a test: a company, a product, the terminals' user.

    setup.py TRYTOND_CONF DATABASE PASSWORD_FILE [KEY_FILE]

Creates the user "till" with the password of the first file. With the module resyncd, creates a key of a user
application and writes it into the second. Prints the ids that the recipe needs. Run again, it changes nothing
but the password.
"""
import os
import sys
from decimal import Decimal

from proteus import Model, Wizard, config

conf, database, password_file, *key_file = sys.argv[1:]
config.set_trytond(database, config_file=conf)


def one(model, domain, **values):
    """The record, made when it is missing."""
    for record in Model.get(model).find(domain, limit=1):
        return record
    record = Model.get(model)(**values)
    record.save()
    return record


User, Group = Model.get("res.user"), Model.get("res.group")
currency = one("currency.currency", [("code", "=", "EUR")], name="Euro", code="EUR", symbol="€", rounding=Decimal("0.01"))
if not Model.get("company.company").find([]):
    party = one("party.party", [("code", "=", "OWN")], name="The chain", code="OWN")
    wizard = Wizard("company.company.config")
    wizard.execute("company")
    wizard.form.party, wizard.form.currency = party, currency
    wizard.execute("add")
config.get_config()._context = User.get_preferences(True, {})
company, = Model.get("company.company").find([])
unit, = Model.get("product.uom").find([("name", "=", "Unit")])
if not Model.get("product.product").find([("code", "=", "TEA")]):
    template = Model.get("product.template")(name="Tea", default_uom=unit, type="goods", salable=True, sale_uom=unit)
    template.list_price = Decimal("4.50")
    template.products[0].suffix_code = "TEA"
    template.save()
product, = Model.get("product.product").find([("code", "=", "TEA")])
cash = one("party.party", [("code", "=", "CASH")], name="Sold for cash", code="CASH")
users = User.find([("login", "=", "till")])
till = users[0] if users else User(name="Till", login="till")
if not users:
    till.companies.append(company)
    till.company = company
    till.groups.extend(Group.find([("name", "in", ["Sales"])]))
with open(password_file) as file:
    till.password = file.read().strip()
till.save()
if key_file:
    Key = Model.get("res.user.application")
    key = Key(user=till, application="resyncd")
    key.save()
    with open(os.open(key_file[0], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(key.key)
print(f"company {company.id}, unit {unit.id}, product {product.id}, customer {cash.id}")

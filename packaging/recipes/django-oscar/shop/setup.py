"""Prepares the shop for a trial or a test: setup.py PASSWORD_FILE creates the terminals' user "till" and sets its
password, a product class, a partner and a product. Run again, it changes nothing but the password."""
import os
import sys
from decimal import Decimal

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from django.contrib.auth.models import Permission, User  # noqa: E402
from oscar.apps.catalogue.models import Product, ProductClass  # noqa: E402
from oscar.apps.partner.models import Partner, StockRecord  # noqa: E402

till, _ = User.objects.get_or_create(username="till", email="till@shop.example", is_staff=True)
with open(sys.argv[1]) as file:
    till.set_password(file.read().strip())
till.save()
names = [f"{verb}_{model}" for verb in ("view", "add", "change", "delete") for model in ("product", "order")]
till.user_permissions.set(Permission.objects.filter(codename__in=names, content_type__app_label__in=["catalogue", "order"]))
kind, _ = ProductClass.objects.get_or_create(name="Goods", requires_shipping=False)
partner, _ = Partner.objects.get_or_create(name="The chain")
tea, new = Product.objects.get_or_create(upc="TEA", defaults={"title": "Tea", "product_class": kind})
if new:
    StockRecord.objects.create(product=tea, partner=partner, partner_sku="TEA", price=Decimal("4.50"), num_in_stock=100)

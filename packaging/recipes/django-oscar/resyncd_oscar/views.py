"""Products by their UPC and orders by their number, because a terminal does not know the shop's own ids."""
from oscar.apps.order.exceptions import InvalidOrderStatus, UnableToPlaceOrder
from oscar.core.loading import get_class, get_model
from oscarapi.views.admin.order import OrderAdminDetail
from oscarapi.views.admin.product import ProductAdminDetail
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import IsAdminUser
from rest_framework.response import Response
from rest_framework.views import APIView

Basket = get_model("basket", "Basket")
OrderModel = get_model("order", "Order")
ProductModel = get_model("catalogue", "Product")
NoShippingRequired = get_class("shipping.methods", "NoShippingRequired")
OrderCreator = get_class("order.utils", "OrderCreator")
OrderTotalCalculator = get_class("checkout.calculators", "OrderTotalCalculator")
Selector = get_class("partner.strategy", "Selector")


class Product(ProductAdminDetail):
    lookup_field = "upc"


class Sales(APIView):
    """POST {"number": "till-07-1", "lines": [{"upc": "4006381333931", "quantity": 2}]}"""

    permission_classes = (IsAdminUser,)

    def post(self, request):
        basket = Basket.objects.create()
        basket.strategy = Selector().strategy(request=request, user=request.user)
        try:
            for line in request.data["lines"]:
                product = ProductModel.objects.get(upc=line["upc"])
                allowed, why = basket.strategy.fetch_for_product(product).availability.is_purchase_permitted(line["quantity"])
                if not allowed:
                    raise ValidationError({"message": f"{product.upc}: {why}"})
                basket.add_product(product, line["quantity"])
            shipping = NoShippingRequired()
            charge = shipping.calculate(basket)
            total = OrderTotalCalculator(request).calculate(basket, charge)
            order = OrderCreator().place_order(basket, total, shipping, charge, order_number=request.data["number"])
        except ProductModel.DoesNotExist as error:
            raise ValidationError({"message": f"no product has the UPC {line['upc']}"}) from error
        except (KeyError, TypeError, ValueError, UnableToPlaceOrder) as error:
            raise ValidationError({"message": str(error)}) from error
        basket.submit()
        return Response({"number": order.number, "total": str(order.total_incl_tax)}, status=201)


class Sale(OrderAdminDetail):
    lookup_field = "number"

    def patch(self, request, number):
        """PATCH {"status": "Cancelled"}"""
        order = self.get_object()
        try:
            order.set_status(request.data["status"])
        except (KeyError, InvalidOrderStatus) as error:
            raise ValidationError({"message": str(error)}) from error
        return Response({"number": order.number, "status": order.status})

"""Before Oscar's API: path("api/", include("resyncd_oscar.urls"))."""
from django.urls import path

from .views import Product, Sale, Sales

urlpatterns = [
    path("resyncd/products/<str:upc>/", Product.as_view()),
    path("resyncd/sales/", Sales.as_view()),
    path("resyncd/sales/<str:number>/", Sale.as_view()),
]

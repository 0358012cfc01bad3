from django.urls import include, path

urlpatterns = [
    path("i18n/", include("django.conf.urls.i18n")),
    path("api/", include("resyncd_oscar.urls")),  # for resyncd, before Oscar's API
    path("api/", include("oscarapi.urls")),
]

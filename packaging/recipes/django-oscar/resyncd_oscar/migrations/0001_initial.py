import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations = [
        migrations.CreateModel(
            name="Key",
            fields=[
                ("key", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("request", models.CharField(max_length=255)),
                ("status", models.PositiveSmallIntegerField()),
                ("body", models.BinaryField()),
                ("at", models.DateTimeField(auto_now_add=True)),
                ("user", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
            ],
        ),
    ]

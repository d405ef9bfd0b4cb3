"""Routes of the account pages, under the names that Django gives them."""

from django.contrib.auth import views as auth_views
from django.urls import path
from django.views.generic import RedirectView

from realtime.accounts import views

urlpatterns = [
    path("login/", auth_views.LoginView.as_view(template_name="accounts/login.html"), name="login"),
    path("logout/", auth_views.LogoutView.as_view(), name="logout"),
    path("register/", views.RegistrationView.as_view(), name="register"),
    path("account/", views.AccountView.as_view(), name="account"),
    path("account/log-out-everywhere/", views.log_out_everywhere, name="log-out-everywhere"),
    # The page of the admin would take any number of guesses at the old password.
    path("admin/password_change/", RedirectView.as_view(pattern_name="password_change")),
    path("account/password/", views.PasswordChangeView.as_view(), name="password_change"),
    path("password/reset/", views.PasswordResetView.as_view(), name="password_reset"),
    path("password/reset/sent/", views.PasswordResetSentView.as_view(), name="password_reset_done"),
    path("password/reset/<uidb64>/<token>/", views.PasswordResetConfirmView.as_view(), name="password_reset_confirm"),
]

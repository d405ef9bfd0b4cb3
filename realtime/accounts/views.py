"""Pages of an account, most of them Django's own views with this site's templates."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth import views as auth_views
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import RedirectURLMixin, redirect_to_login
from django.contrib.messages.views import SuccessMessageMixin
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST
from django.views.generic import FormView, TemplateView, View

from realtime import engine
from realtime.accounts.forms import RegistrationForm
from realtime.engine import LiveConnection, limit_requests

#: Registrations, changes of a password, and emails with a link to a new one, each for one address in an hour.
PER_HOUR = 20


@method_decorator(never_cache, name="dispatch")
class LimitedMixin(View):
    """Takes ``PER_HOUR`` forms an hour from one address, and answers 429 beyond. No cache keeps the page."""

    #: What is counted.
    limit_name: str

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Count a form that is sent."""
        if request.method == "POST":
            limit_requests(request, self.limit_name, PER_HOUR, window=3600)
        return super().dispatch(request, *args, **kwargs)


@method_decorator(sensitive_post_parameters(), name="dispatch")
class RegistrationView(LimitedMixin, RedirectURLMixin, FormView):
    """Creates a user and logs it in; 404 while ``ACCOUNTS_REGISTRATION`` is off.

    It leads to ``?next=`` on this site, as the login does, or to the account.
    """

    template_name = "accounts/register.html"
    form_class = RegistrationForm
    next_page = "account"
    limit_name = "registrations"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Send users who are logged in to their account."""
        if not settings.ACCOUNTS_REGISTRATION:
            raise Http404("Registration is closed.")
        if request.user.is_authenticated:
            return redirect("account")
        return super().dispatch(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add where it leads to."""
        return super().get_context_data(**kwargs, next=self.get_redirect_url())

    def form_valid(self, form: Any) -> HttpResponse:
        """Log the new user in, under a new session key."""
        user = form.save_or_refuse()
        if user is None:
            return self.form_invalid(form)
        login(self.request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
        return super().form_valid(form)


@method_decorator(never_cache, name="dispatch")
class AccountView(LoginRequiredMixin, TemplateView):
    """Shows who is logged in, and what they have open."""

    template_name = "accounts/account.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the user's connections in every process."""
        connections = LiveConnection.alive().filter(user=self.request.user.pk)
        return super().get_context_data(**kwargs, connections=connections)


class PasswordChangeView(LimitedMixin, SuccessMessageMixin, auth_views.PasswordChangeView):
    """Changes the password. Every other session of the user ends, and so does every connection.

    The limit is for guesses at the old password in a session that its user has left open.
    """

    template_name = "accounts/password_change.html"
    limit_name = "password-changes"
    success_url = reverse_lazy("account")
    success_message = gettext_lazy("Your password is changed. You are logged out everywhere else.")


class PasswordResetView(LimitedMixin, auth_views.PasswordResetView):
    """Sends a link to a new password. The answer is the same for an address that nobody has."""

    template_name = "accounts/password_reset.html"
    email_template_name = "accounts/password_reset_email.txt"
    subject_template_name = "accounts/password_reset_subject.txt"
    limit_name = "password-resets"


class PasswordResetSentView(auth_views.PasswordResetDoneView):
    """Says that the email is under way."""

    template_name = "accounts/password_reset_sent.html"


class PasswordResetConfirmView(SuccessMessageMixin, auth_views.PasswordResetConfirmView):
    """Takes the new password from a user who followed the link, which works once."""

    template_name = "accounts/password_reset_confirm.html"
    success_url = reverse_lazy("login")
    success_message = gettext_lazy("Your password is changed. You can log in with it now.")


@require_POST
def log_out_everywhere(request: HttpRequest) -> HttpResponse:
    """End every connection, token and session of the user, this session too."""
    if not request.user.is_authenticated:
        return redirect_to_login(reverse("account"))  # a login cannot lead back here: it leads by GET
    engine.log_out_everywhere(request.user.pk)
    logout(request)
    messages.success(request, _("You are logged out everywhere."))
    return redirect("login")

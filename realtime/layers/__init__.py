"""The channel layer: a message to a group is encoded once, whatever the number of its members."""

from realtime.layers.layer import FanoutChannelLayer
from realtime.layers.mailbox import RESYNCHRONISE, Mailbox
from realtime.layers.members import Subscription
from realtime.layers.statistics import Statistics

__all__ = ["RESYNCHRONISE", "FanoutChannelLayer", "Mailbox", "Statistics", "Subscription"]

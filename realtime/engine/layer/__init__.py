"""The channel layer: a message to a group is encoded once, whatever the number of its members."""

from realtime.engine.layer.channel_layer import FanoutChannelLayer
from realtime.engine.layer.counters_of_layer import Statistics
from realtime.engine.layer.mailbox import RESYNCHRONISE, Mailbox
from realtime.engine.layer.members import Subscription

__all__ = ["RESYNCHRONISE", "FanoutChannelLayer", "Mailbox", "Statistics", "Subscription"]

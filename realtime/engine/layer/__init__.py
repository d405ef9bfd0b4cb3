"""The channel layer: a message to a group is encoded once, whatever the number of its members."""

from realtime.engine.layer.channel_layer import FanoutChannelLayer, spans_processes
from realtime.engine.layer.options import Statistics
from realtime.engine.layer.subscription import RESYNCHRONISE, Subscription

__all__ = ["RESYNCHRONISE", "FanoutChannelLayer", "Statistics", "Subscription", "spans_processes"]

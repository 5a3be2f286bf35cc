"""The recurrent attention: a feature map in, K regions with their scores out.

Start reading at `recurrent_attention` (ICCV 2017), then `spatial_transformer` and
`region_lstm`; the agent of the AAAI 2018 paper is in `reinforced_attention`.
"""

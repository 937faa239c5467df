"""What stands on the other side of the payment platform: WeChat Pay, Alipay, and the phones of those who pay."""

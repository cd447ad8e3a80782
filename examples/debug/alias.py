# Two customers pay. The second one is charged for express delivery, which she has not asked for. Who has?

DEFAULTS = {"delivery": "standard", "gift": False}
PRICES = {"standard": 4, "express": 12}


class Order:
    def __init__(self, name, options=None):
        self.name = name
        self.options = options or DEFAULTS

    def total(self):
        return 20 + PRICES[self.options["delivery"]]


def read_orders():
    yield Order("Ada")
    yield Order("Bob", {"delivery": "express", "gift": True})
    yield Order("Eve")


def upgrade(order):
    """The shop's thousandth customer gets express delivery."""
    order.options["delivery"] = "express"


def main():
    orders = list(read_orders())
    upgrade(orders[0])
    bill = {order.name: order.total() for order in orders}
    print(bill)
    assert bill["Eve"] == 24, bill["Eve"]


main()

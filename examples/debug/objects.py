# One of a hundred objects is wrong by one at the end. Which statement did it?


class Box:
    def __init__(self, value):
        self.value = value


class Shop:
    def __init__(self):
        self.boxes = []

    def fill(self):
        for number in range(100):
            self.boxes.append(Box(number))

    def double(self):
        for box in self.boxes:
            box.value *= 2

    def tidy(self):
        last = None
        for box in reversed(self.boxes):
            if box.value == 84:
                last = box
        last.value += 1


def main():
    shop = Shop()
    shop.fill()
    shop.double()
    shop.tidy()
    wrong = [box for box in shop.boxes if box.value % 2]
    print(len(wrong), "box is wrong")
    assert not wrong, wrong[0].value


main()

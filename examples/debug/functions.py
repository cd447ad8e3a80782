# A bit of everything that a debugger steps through.


class Circle:
    def __init__(self, radius):
        self.radius = radius

    @property
    def area(self):
        return 3 * self.radius ** 2


def factorial(n):
    if n <= 1:
        return 1
    return n * factorial(n - 1)


def squares(limit):
    for i in range(limit):
        yield i * i


def counter():
    count = 0

    def add(by):
        nonlocal count
        count += by
        return count

    return add


def odd_sum(limit):
    total = 0
    for i in range(limit):
        if i % 2 == 0:
            continue
        total += i
    return total


def careful(divisor):
    try:
        return 12 // divisor
    except ZeroDivisionError:
        return None
    finally:
        LOG.append(divisor)


LOG = []


def main():
    print(factorial(4))
    print(sum(squares(4)))
    add = counter()
    add(1)
    add(2)
    print(add(3))
    print(odd_sum(10))
    print(careful(4), careful(0))
    print(Circle(2).area)


main()

"""Wrong answers to chapter 1's exercises."""

import math

from wrong_answers import wrong

from course.solutions import chapter_01 as right


@wrong("divide", "wrong sign")
def _(a, b):
    return a / b, 1 / b, a / b**2


@wrong("divide", "lacks a factor of a")
def _(a, b):
    return a / b, 1 / b, -1 / b**2


@wrong("divide", "from -1 to -2")
def _(a, b):
    return a / b, 1 / b, -a / b


@wrong("divide", r"1 / b, whatever a is")
def _(a, b):
    return a / b, a / b**2, -a / b**2


@wrong("divide", "3 results, y, dy/da, dy/db, and returned one float")
def _(a, b):
    return a / b


@wrong("divide", "the other way round")
def _(a, b):
    return b / a, 1 / b, -a / b**2


@wrong("tanh_rule", "the gradient that arrives")
def _(y, g):
    return 1 - y**2


@wrong("tanh_rule", r"y is already tanh\(x\)")
def _(y, g):
    return (1 - math.tanh(y) ** 2) * g


@wrong("tanh_rule", "logistic function's")
def _(y, g):
    return y * (1 - y) * g


@wrong("tanh_rule", "1 - y squared")
def _(y, g):
    return (1 - y) * g


@wrong("tanh_rule", "is `return` missing")
def _(y, g):
    (1 - y**2) * g


@wrong("tanh_rule", "the gradient is .*; it should be")
def _(y, g):
    return 2 * g


@wrong("topological_order", "3 times in the list")
def _(output):
    order = []

    def visit(node):
        for parent in node.parents:
            visit(parent)
        order.append(node)

    visit(output)
    return order


@wrong("topological_order", "on arriving at it")
def _(output):
    order = []

    def visit(node):
        if node not in order:
            order.append(node)
            for parent in node.parents:
                visit(parent)

    visit(output)
    return order


@wrong("topological_order", "RecursionError: Python stops")
def _(output):
    order = []

    def visit(node):
        if node not in order:
            for parent in node.parents:
                visit(parent)
            order.append(node)

    visit(output)
    return order


@wrong("topological_order", "begins with the output")
def _(output):
    return right.topological_order(output)[::-1]


@wrong("topological_order", "node d is not in the list")
def _(output):
    return right.topological_order(output)[:-1]


@wrong("backward", r"use `\+=`")
def _(output):
    output.grad = 1.0
    for node in reversed(right.topological_order(output)):
        for parent, derivative in zip(node.parents, node.local):
            parent.grad = derivative * node.grad


@wrong("backward", r"output\.grad = 1\.0 first")
def _(output):
    for node in reversed(right.topological_order(output)):
        for parent, derivative in zip(node.parents, node.local):
            parent.grad += derivative * node.grad


@wrong("backward", "before all of it had arrived, or twice")
def _(output):
    output.grad = 1.0
    waiting = [output]
    while waiting:
        node = waiting.pop(0)
        for parent, derivative in zip(node.parents, node.local):
            parent.grad += derivative * node.grad
            waiting.append(parent)


@wrong("backward", "RecursionError: Python stops")
def _(output):
    def push(node, g):
        node.grad += g
        for parent, derivative in zip(node.parents, node.local):
            push(parent, derivative * g)

    push(output, 1.0)

#!/usr/bin/env python3
"""Usage: stripe-contract.py RECORDS.jsonl...

Checks recorded calls of the Stripe API against the types that Stripe generates from its own API description into its Python
library: every parameter must be one that the call takes, with a value of its type, and none that it requires may be missing;
every answer and every event must have the fields of its object, each of its type. Run it with the Python into which
scripts/setup.sh installs that library, in the version whose API version is the one that this program sends.

One JSON object a line: {"kind": "call", "method", "path", "query", "body", "version", "idempotency_key", "status", "answer"}
or {"kind": "event", "event"}. Prints one line for each mistake; exit code 1 if there is any, 2 if nothing was recorded.
"""

import ast
import json
import re
import sys
from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qsl

import stripe
from stripe._api_version import _ApiVersion

ROOT = Path(stripe.__file__).parent
NUMBER = re.compile(r"-?\d+(\.\d+)?\Z")


class Module:
    """The names of one source file: its classes, and where the imported ones come from."""

    def __init__(self, name):
        path = ROOT.joinpath(*name.split(".")[1:])
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        self.tree = ast.parse(path.read_text())
        self.imports, self.classes = {}, {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("stripe"):
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = (node.module, alias.name)
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef):
                self.classes[node.name] = node


@lru_cache(maxsize=None)
def module(name):
    return Module(name)


class Type:
    """A class of the library: its fields, and the scope that their annotations are read in."""

    def __init__(self, module_name, node, outer):
        self.module_name, self.node, self.outer = module_name, node, outer
        self.inner = {n.name: n for n in node.body if isinstance(n, ast.ClassDef)}
        self.fields = {}
        for base in node.bases:
            # TypedDicts inherit from their base's name; resources from generic classes without fields of interest.
            name = base.id if isinstance(base, ast.Name) else None
            found = self.find(name) if name and name not in ("RequestOptions", "TypedDict") else None
            if found and found.is_params:
                self.fields.update(found.fields)
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                self.fields[item.target.id] = (item.annotation, self)
        # Names that are no identifiers ("from") stand in a TypedDict of the functional form, as the base class.
        for base in node.bases:
            if isinstance(base, ast.Name):
                for extra in module(module_name).tree.body:
                    if (isinstance(extra, ast.Assign) and isinstance(extra.targets[0], ast.Name)
                            and extra.targets[0].id == base.id and isinstance(extra.value, ast.Call)):
                        names = extra.value.args[1]
                        for key, value in zip(names.keys, names.values):
                            self.fields[key.value] = (value, self)

    @property
    def is_params(self):
        return self.module_name.startswith("stripe.params")

    def find(self, dotted):
        """A class by the name that this one's annotations use, or None."""
        head, _, rest = dotted.partition(".")
        scope = self
        while scope:
            if head in scope.inner:
                found = Type(self.module_name, scope.inner[head], scope)
                break
            if scope.node.name == head:
                found = scope
                break
            scope = scope.outer
        else:
            found = top(self.module_name, head)
        for part in rest.split(".") if rest else []:
            found = found and found.find(part)
        return found


@lru_cache(maxsize=None)
def top(module_name, name):
    """A class that a module defines or imports."""
    here = module(module_name)
    if name in here.classes:
        return Type(module_name, here.classes[name], None)
    if name in here.imports:
        source, original = here.imports[name]
        return top(source, original)
    return None


def dotted(node):
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    raise ValueError(ast.dump(node))


def arguments(node):
    return node.elts if isinstance(node, ast.Tuple) else [node]


def options(node):
    """The alternatives of an annotation, unions taken apart."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return options(ast.parse(node.value.strip(), mode="eval").body)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return options(node.left) + options(node.right)
    if isinstance(node, ast.Subscript):
        name = dotted(node.value).split(".")[-1]
        if name == "Union":
            return [one for each in arguments(node.slice) for one in options(each)]
        if name == "Optional":
            return options(node.slice) + [ast.Constant(None)]
        if name == "NotRequired":
            return options(node.slice)
    return [node]


def is_optional(node, is_params):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value.strip(), mode="eval").body
    if is_params:
        return isinstance(node, ast.Subscript) and dotted(node.value) == "NotRequired"
    return any(isinstance(one, ast.Constant) and one.value is None for one in options(node))


def check(value, annotation, scope, path, from_form):
    """Mistakes of a value, as lines; the alternative with the fewest counts."""
    alternatives = options(annotation)
    literals = [one for one in alternatives if isinstance(one, ast.Subscript) and dotted(one.value) == "Literal"]
    if any(text for one in literals for text in literal_values(one)):
        # Stripe leaves `str` beside its lists so that old programs compile; a new program should know the list.
        alternatives = [one for one in alternatives if not (isinstance(one, ast.Name) and one.id == "str")]
    best = None
    for one in alternatives:
        mistakes = list(check_one(value, one, scope, path, from_form))
        if not mistakes:
            return []
        if best is None or len(mistakes) < len(best):
            best = mistakes
    return best or []


def literal_values(node):
    return [item.value for item in arguments(node.slice)]


def check_one(value, node, scope, path, from_form):
    if isinstance(node, ast.Constant) and node.value is None:
        if value is not None:
            yield f"{path}: found {value!r}, expected null"
        return
    if isinstance(node, ast.Subscript):
        name = dotted(node.value).split(".")[-1]
        if name == "Literal":
            allowed = literal_values(node)
            if value not in allowed and not (from_form and value in [str(each).lower() for each in allowed]):
                yield f"{path}: found {value!r}, expected one of {allowed}"
        elif name in ("List", "Sequence"):
            if not isinstance(value, list):
                yield f"{path}: found {value!r}, expected a list"
                return
            for index, item in enumerate(value):
                yield from check(item, node.slice, scope, f"{path}[{index}]", from_form)
        elif name in ("Dict", "UntypedStripeObject"):
            if not isinstance(value, dict):
                yield f"{path}: found {value!r}, expected a map"
                return
            for key, item in value.items():
                yield from check(item, arguments(node.slice)[-1], scope, f"{path}.{key}", from_form)
        elif name == "ListObject":
            if not isinstance(value, dict) or value.get("object") != "list" or not isinstance(value.get("data"), list):
                yield f"{path}: expected a list object"
                return
            if not isinstance(value.get("has_more"), bool) or not isinstance(value.get("url"), str):
                yield f"{path}: a list object needs has_more and url"
            for index, item in enumerate(value["data"]):
                yield from check(item, node.slice, scope, f"{path}.data[{index}]", from_form)
        elif name == "ExpandableField":
            if not isinstance(value, str):
                yield from check(value, node.slice, scope, path, from_form)
        else:
            raise ValueError(f"{path}: {ast.dump(node)}")
        return
    name = dotted(node)
    if name == "Any":
        return
    if name == "str":
        if not isinstance(value, str):
            yield f"{path}: found {value!r}, expected a text"
    elif name in ("int", "float", "bool", "Decimal"):
        yield from check_number(value, name, path, from_form)
    else:
        kind = scope.find(name)
        if kind is None:
            raise ValueError(f"{path}: no type {name} in {scope.module_name}")
        yield from check_object(value, kind, path, from_form)


def check_number(value, name, path, from_form):
    if name == "bool":
        fits = value in ("true", "false") if from_form else isinstance(value, bool)
    elif name == "Decimal":
        fits = isinstance(value, str) and NUMBER.match(value)
    elif from_form:
        fits = isinstance(value, str) and NUMBER.match(value) and (name == "float" or "." not in value)
    else:
        fits = isinstance(value, int if name == "int" else (int, float)) and not isinstance(value, bool)
    if not fits:
        yield f"{path}: found {value!r}, expected {name}"


def check_object(value, kind, path, from_form):
    if not isinstance(value, dict):
        yield f"{path}: found {value!r}, expected an object"
        return
    fields = {
        name: each for name, each in kind.fields.items()
        if not name.startswith("_") and "ClassVar" not in ast.dump(each[0])
    }
    if value.get("deleted") is True and "deleted" in fields:
        return
    # `class` and the like cannot be names of fields.
    names = {name.rstrip("_") if name.endswith("_") else name: each for name, each in fields.items()}
    for key, item in value.items():
        if key not in names:
            yield f"{path}.{key}: unknown {'parameter' if from_form else 'field'}"
            continue
        annotation, scope = names[key]
        yield from check(item, annotation, scope, f"{path}.{key}", from_form)
    for name, (annotation, _) in names.items():
        if name not in value and not is_optional(annotation, kind.is_params):
            yield f"{path}.{name}: missing"


def nested(pairs):
    """`a[b][0]=c` as {"a": {"b": ["c"]}}."""
    root = {}
    for key, value in pairs:
        parts = re.findall(r"[^\[\]]+", key)
        at = root
        for part in parts[:-1]:
            at = at.setdefault(part, {})
        at[parts[-1]] = value

    def lists(node):
        if not isinstance(node, dict):
            return node
        node = {key: lists(each) for key, each in node.items()}
        if node and all(key.isdigit() for key in node):
            return [node[key] for key in sorted(node, key=int)]
        return node

    return lists(root)


@lru_cache(maxsize=None)
def sources():
    """Every file with types or calls: name of its module → text."""
    files = sorted(path for path in ROOT.rglob("_*.py") if "params" not in path.relative_to(ROOT).parts)
    return {".".join(["stripe", *path.relative_to(ROOT).with_suffix("").parts]): path.read_text() for path in files}


@lru_cache(maxsize=None)
def routes(first):
    """Calls whose path begins with `/v1/<first>`: (verb, pattern of the path, type of its parameters, annotation of its answer,
    scope, number of its variable parts)."""
    found = []
    for name, text in sources().items():
        if not name.endswith("_service") or f'"/v1/{first}' not in text:
            continue
        for service in module(name).classes.values():
            scope = Type(name, service, None)
            for function in service.body:
                if isinstance(function, ast.FunctionDef):
                    found += route(function, scope)
    return found


def route(function, scope):
    for call in ast.walk(function):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "_request"):
            continue
        verb, path = call.args[0].value, call.args[1]
        if isinstance(path, ast.Call):
            path = path.func.value
        pattern = re.compile(re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(path.value)) + r"\Z")
        kind = None
        for argument in function.args.args:
            if argument.arg == "params":
                kind = next((scope.find(dotted(one)) for one in options(argument.annotation)
                             if not isinstance(one, ast.Constant)), None)
        # The more a path says literally the better it fits: /v1/invoices/search is no invoice's id.
        yield verb, pattern, kind, function.returns, scope, -path.value.count("{")


@lru_cache(maxsize=None)
def object_type(kind):
    """The class of the objects that call themselves `kind`, or None."""
    for name, text in sources().items():
        if "OBJECT_NAME" not in text or f'"{kind}"' not in text or name.startswith("stripe.v2"):
            continue
        for node in module(name).classes.values():
            for item in node.body:
                if isinstance(item, ast.AnnAssign) and dotted(item.target) == "OBJECT_NAME":
                    if item.value and item.value.value == kind:
                        return Type(name, node, None)
    return None


def check_call(record):
    verb, path = record["method"].lower(), record["path"]
    where = f"{record['method']} {path}"
    fitting = [each for each in routes(path.split("/")[2]) if each[0] == verb and each[1].match(path)]
    if not fitting:
        yield f"{where}: Stripe has no such call"
        return
    _, _, kind, answer_type, scope, _ = max(fitting, key=lambda each: each[5])
    if record["version"] != _ApiVersion.CURRENT:
        yield f"{where}: Stripe-Version is {record['version']!r}, and the types are of {_ApiVersion.CURRENT}"
    key = record["idempotency_key"]
    if verb == "post" and not (key and len(key) <= 255):
        yield f"{where}: the idempotency key is {key!r}"
    text = record["query"] if verb in ("get", "delete") else record["body"]
    sent = nested(parse_qsl(text or "", keep_blank_values=True, strict_parsing=bool(text)))
    if kind is None:
        if sent:
            yield f"{where}: takes no parameters"
    else:
        yield from check_object(sent, kind, f"{where}: $", True)
    answer, status = record["answer"], record["status"]
    if status is None:
        return
    if status >= 400:
        yield from check_object(answer.get("error"), top("stripe._error_object", "ErrorObject"), f"{where}: error", False)
    else:
        yield from check(answer, answer_type, scope, f"{where} → $", False)


def check_event(event):
    where = f"event {event.get('type')}"
    kind = object_type("event")
    yield from check_object(event, kind, where, False)
    inner = event.get("data", {}).get("object", {})
    known = object_type(inner.get("object"))
    if known is None:
        yield f"{where}: data.object is of no known kind"
    else:
        yield from check_object(inner, known, f"{where}: data.object", False)
    if event.get("api_version") != _ApiVersion.CURRENT:
        yield f"{where}: api_version is {event.get('api_version')!r}"


def main(paths):
    n_records, mistakes = 0, {}
    for path in paths:
        for line in Path(path).read_text().splitlines():
            record = json.loads(line)
            n_records += 1
            found = check_event(record["event"]) if record["kind"] == "event" else check_call(record)
            for mistake in found:
                mistakes[mistake] = mistakes.get(mistake, 0) + 1
    for mistake, n in mistakes.items():
        print(mistake if n == 1 else f"{mistake} ({n} times)")
    if not n_records:
        print("nothing was recorded")
        return 2
    print(f"{n_records} records, {len(mistakes)} different mistakes, API version {_ApiVersion.CURRENT}")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

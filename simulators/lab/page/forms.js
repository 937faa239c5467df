/* Arguments of actions: a field for each, made from the lab's own table. */

import { make } from "./dom.js";
import { label, text, wordText } from "./texts.js";

let fields = 0;

/* Names and values of all arguments with a default, or null when one has none. */
export function defaults(action) {
  if (action.arguments.some((argument) => argument.required)) return null;
  return Object.fromEntries(action.arguments.map((argument) => [argument.name, argument.default]));
}

/* A form that hands its values to `send`; `known` replaces defaults. */
export function formOf(action, device, known, send) {
  const form = make("form", { className: "form" });
  const inputs = action.arguments.map((argument) => {
    const choices = argument.name === "model" ? device.models : argument.choices;
    const input = inputOf({ ...argument, choices }, known[argument.name] ?? argument.default);
    const id = `field-${(fields += 1)}`;
    input.id = id;
    form.append(make("label", { for: id, className: "field" }, make("span", {}, label(argument)), input));
    return [argument, input];
  });
  form.append(make("button", { type: "submit", className: "button primary" }, text("run")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(Object.fromEntries(inputs.map(([argument, input]) => [argument.name, valueOf(argument, input)])));
  });
  return form;
}

function inputOf(argument, value) {
  if (argument.choices) {
    const options = argument.choices.map((choice) => make("option", { value: choice }, wordText(choice)));
    const select = make("select", { required: true }, ...options);
    if (value) select.value = value;
    return select;
  }
  if (argument.kind === "switch") return make("input", { type: "checkbox", checked: Boolean(value) });
  if (argument.kind === "text") return make("input", { type: "text", value: value ?? "", autocomplete: "off" });
  const input = make("input", { type: "number", value: value ?? "", required: true });
  input.step = argument.kind === "whole" ? "1" : "any";
  if (argument.minimum !== null) input.min = argument.minimum;
  if (argument.maximum !== null) input.max = argument.maximum;
  return input;
}

function valueOf(argument, input) {
  if (argument.kind === "switch") return input.checked;
  if (argument.kind === "whole" || argument.kind === "number") return input.valueAsNumber;
  return input.value;
}

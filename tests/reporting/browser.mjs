// Opens the report that is named, does with it what people do, and prints what was found as JSON.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, report, pictures] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { chromium } = require("playwright-core");
const axe = require.resolve("axe-core/axe.min.js");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"],
});
const found = { console: [], requests: [], views: {} };
for (const [name, width, colorScheme] of [
  ["wide-light", 1280, "light"], ["wide-dark", 1280, "dark"], ["phone-light", 390, "light"], ["phone-dark", 390, "dark"],
]) {
  const context = await browser.newContext({ viewport: { width, height: 844 }, colorScheme, bypassCSP: true });
  const page = await context.newPage();
  page.on("console", (message) => found.console.push(message.text()));
  page.on("pageerror", (error) => found.console.push(String(error)));
  page.on("request", (request) => found.requests.push(request.url().slice(0, 60)));
  await page.goto(pathToFileURL(report).href);
  await page.waitForSelector("#runs tbody tr");
  const labels = () => page.locator(".frame").first().getAttribute("aria-label");
  const range = () => page.locator("#curves output").first().textContent();
  const view = { before: await labels(), theme: await page.locator("html").getAttribute("data-theme") };
  view.charts = await page.locator("canvas").count();
  view.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  view.inked = await page.evaluate(() => [...document.querySelectorAll("canvas")].every((canvas) =>
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte)));
  if (pictures) await page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true });
  await page.addScriptTag({ path: axe });
  const judged = await page.evaluate(() => globalThis.axe.run());
  view.violations = judged.violations.map((each) => `${each.id}: ${each.nodes[0].html.slice(0, 160)}`);
  view.judged = judged.passes.length;
  await page.locator(".frame").first().focus();
  await page.keyboard.press("ArrowRight");
  view.cursor = await range();
  await page.keyboard.press("ArrowRight");
  view.moved = await range();
  await page.locator("input[data-run='0']").focus();
  await page.keyboard.press("Space");
  view.hidden = await labels();
  await page.locator("input[value=minutes]").check();
  view.minutes = await labels();
  await page.locator("#theme").click();
  view.toggled = await page.locator("html").getAttribute("data-theme");
  view.injected = await page.evaluate(() => globalThis.injected ?? document.querySelector("img, b, iframe")?.outerHTML ?? null);
  view.text = await page.locator("body").innerText();
  view.film = await page.evaluate(() => document.querySelector("video")?.src.slice(0, 22) ?? null);
  found.views[name] = view;
  await context.close();
}
// Once more as people have it, with the page's own policy in force.
const page = await browser.newPage();
page.on("console", (message) => found.console.push(message.text()));
page.on("pageerror", (error) => found.console.push(String(error)));
await page.goto(pathToFileURL(report).href);
found.underPolicy = await page.locator("canvas").count();
await browser.close();
console.log(JSON.stringify(found));

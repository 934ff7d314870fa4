// Opens the report that is named, does with it what people do, and prints what was found as JSON.
import { pathToFileURL } from "node:url";
import { LOOKS, start } from "./chromium.mjs";

const [folder, report, pictures] = process.argv.slice(2);
const found = { console: [], requests: [], views: {} };
const { browser, open, judge } = await start(folder, found);
for (const [name, width, colorScheme] of LOOKS) {
  const page = await open({ viewport: { width, height: 844 }, colorScheme, bypassCSP: true });
  await page.goto(pathToFileURL(report).href);
  await page.waitForSelector("#runs tbody tr");
  const labels = () => page.locator(".frame").first().getAttribute("aria-label");
  const range = () => page.locator("#curves output").first().textContent();
  const view = { before: await labels(), theme: await page.locator("html").getAttribute("data-theme") };
  view.charts = await page.locator("canvas").count();
  view.inked = await page.evaluate(() => [...document.querySelectorAll("canvas")].every((canvas) =>
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte)));
  if (pictures) await page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true });
  await judge(page, view);
  view.film = await page.evaluate(() => document.querySelector("video")?.src.slice(0, 22) ?? null);
  await page.locator(".frame").first().focus();
  await page.keyboard.press("ArrowRight");
  view.cursor = await range();
  await page.keyboard.press("ArrowRight");
  view.moved = await range();
  await page.locator("#runs tbody input").first().focus();
  await page.keyboard.press("Space");
  view.hidden = await labels();
  await page.locator("input[value=minutes]").check();
  view.minutes = await labels();
  await page.locator("#theme").click();
  view.toggled = await page.locator("html").getAttribute("data-theme");
  view.text = await page.locator("body").innerText();
  await page.getByRole("button", { name: "seed", exact: true }).press("Enter");
  view.sorted = await page.locator("#runs tbody td:nth-child(5)").allTextContents();
  found.views[name] = view;
  await page.context().close();
}
// Once more as people have it, with the page's own policy in force.
const page = await open();
await page.goto(pathToFileURL(report).href);
found.underPolicy = await page.locator("canvas").count();
await browser.close();
console.log(JSON.stringify(found));

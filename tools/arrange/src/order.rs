//! Modules written again: with a call at each function's entry, or with its functions in another order.

use std::collections::HashSet;
use std::convert::Infallible;

use anyhow::Context as _;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, EntityType, FunctionSection, ImportSection, Instruction, Module, TypeSection,
    ValType,
};
use wasmparser::{
    CodeSectionReader, CustomSectionReader, FunctionBody, FunctionSectionReader,
    ImportSectionReader, Parser, Payload, TypeRef, TypeSectionReader,
};

/// The import that a traced module calls with the number of the function that was entered: its place in the
/// module's code.
pub(crate) const ENTER: (&str, &str) = ("arrange", "enter");

type Outcome<T = ()> = Result<T, Error<Infallible>>;

/// Numbers below this have one byte in the module, all others two. Binaryen gave them to the functions that are named
/// most often, and they keep them.
const SHORT: u32 = 128;

/// The module, telling of each function that is entered.
pub(crate) fn traced(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let imports = count(module)?.imports;
    write(module, &mut Traced { imports, entry: 0, types: 0 })
}

/// The module with the functions of these numbers first, in this order.
pub(crate) fn arranged(module: &[u8], called: &[u32]) -> anyhow::Result<Vec<u8>> {
    behind(module, called, SHORT)
}

/// The same; functions whose numbers, those of imports counted, are below `short` stay where they are.
fn behind(module: &[u8], called: &[u32], short: u32) -> anyhow::Result<Vec<u8>> {
    let Count { imports, functions } = count(module)?;
    let kept = short.saturating_sub(imports).min(functions);
    let mut placed: HashSet<u32> = (0..kept).collect();
    let mut order: Vec<u32> = (0..kept).collect();
    order.extend(called.iter().filter(|number| **number < functions && placed.insert(**number)));
    order.extend((kept..functions).filter(|number| !placed.contains(number)));
    let mut places = vec![0; order.len()];
    for (place, number) in (0..).zip(&order) {
        *at_mut(&mut places, *number)? = place;
    }
    write(module, &mut Arranged { imports, order, places })
}

fn write(module: &[u8], way: &mut impl Reencode<Error = Infallible>) -> anyhow::Result<Vec<u8>> {
    let mut written = Module::new();
    way.parse_core_module(&mut written, Parser::new(0), module)
        .context("the module is no module")?;
    Ok(written.finish())
}

struct Count {
    imports: u32,
    functions: u32,
}

fn count(module: &[u8]) -> anyhow::Result<Count> {
    let mut count = Count { imports: 0, functions: 0 };
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let function = matches!(import?.ty, TypeRef::Func(_));
                    count.imports = count.imports.saturating_add(u32::from(function));
                }
            }
            Payload::FunctionSection(section) => count.functions = section.count(),
            _ => {}
        }
    }
    Ok(count)
}

fn at_mut(places: &mut [u32], number: u32) -> anyhow::Result<&mut u32> {
    places.get_mut(usize::try_from(number)?).context("a function beyond the last")
}

/// Calls [`ENTER`] at each function's entry.
struct Traced {
    imports: u32,
    /// The function whose body comes next.
    entry: u32,
    types: u32,
}

impl Reencode for Traced {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Outcome<u32> {
        // The new import comes behind the others.
        Ok(if index < self.imports { index } else { index.saturating_add(1) })
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: TypeSectionReader<'_>,
    ) -> Outcome {
        utils::parse_type_section(self, types, section)?;
        self.types = types.len();
        types.ty().function([ValType::I32], []);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Outcome {
        utils::parse_import_section(self, imports, section)?;
        imports.import(ENTER.0, ENTER.1, EntityType::Function(self.types));
        Ok(())
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Outcome {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        function.instruction(&Instruction::I32Const(self.entry.cast_signed()));
        function.instruction(&Instruction::Call(self.imports));
        self.entry = self.entry.saturating_add(1);
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            function.instruction(&self.parse_instruction(&mut reader)?);
        }
        code.function(&function);
        Ok(())
    }
}

/// Gives each function another number.
struct Arranged {
    imports: u32,
    /// The functions by their new places.
    order: Vec<u32>,
    /// The new places of the functions.
    places: Vec<u32>,
}

impl Arranged {
    /// What the functions have, by their new places.
    fn in_order<T: Clone>(&self, items: &[T]) -> Vec<T> {
        let item = |number: &u32| items.get(usize::try_from(*number).ok()?).cloned();
        self.order.iter().filter_map(item).collect()
    }
}

impl Reencode for Arranged {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Outcome<u32> {
        let Some(number) = index.checked_sub(self.imports) else { return Ok(index) };
        let place = usize::try_from(number).ok().and_then(|number| self.places.get(number));
        Ok(place.map_or(index, |place| place.saturating_add(self.imports)))
    }

    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: CustomSectionReader<'_>,
    ) -> Outcome {
        // Names stand in the order of the numbers that they are for.
        if section.name() == "name" {
            return Ok(());
        }
        utils::parse_custom_section(self, module, section)
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Outcome {
        let types: Vec<u32> = section.into_iter().collect::<Result<_, _>>()?;
        for index in self.in_order(&types) {
            functions.function(index);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Outcome {
        let bodies: Vec<FunctionBody<'_>> = section.into_iter().collect::<Result<_, _>>()?;
        let bodies = self.in_order(&bodies);
        bodies.into_iter().try_for_each(|body| self.parse_function_body(code, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three functions, which answer 1, 2 and 3; the third calls the others.
    fn module() -> Vec<u8> {
        wat::parse_str(
            r#"(module
                (import "env" "f" (func))
                (func $one (result i32) i32.const 1)
                (func $two (result i32) i32.const 2)
                (func (export "three") (result i32)
                    (i32.add (call $one) (call $two)))
                (table funcref (elem $two)))"#,
        )
        .unwrap()
    }

    fn run(module: &[u8], entered: &mut Vec<i32>) -> i32 {
        let engine = wasmi::Engine::default();
        let mut store = wasmi::Store::new(&engine, Vec::new());
        let mut linker = wasmi::Linker::new(&engine);
        linker.func_wrap("env", "f", || ()).unwrap();
        let enter =
            |mut caller: wasmi::Caller<'_, Vec<i32>>, number| caller.data_mut().push(number);
        linker.func_wrap(ENTER.0, ENTER.1, enter).unwrap();
        let module = wasmi::Module::new(&engine, module).unwrap();
        let instance = linker.instantiate_and_start(&mut store, &module).unwrap();
        let three = instance.get_typed_func::<(), i32>(&store, "three").unwrap();
        let answer = three.call(&mut store, ()).unwrap();
        entered.clone_from(store.data());
        answer
    }

    #[test]
    fn a_traced_module_tells_what_is_entered() {
        let mut entered = Vec::new();
        assert_eq!(run(&traced(&module()).unwrap(), &mut entered), 3);
        assert_eq!(entered, [2, 0, 1]);
    }

    #[test]
    fn an_arranged_module_does_the_same() {
        for called in [vec![2, 1, 0], vec![1], vec![], vec![9, 1, 1]] {
            // The first number is the import's.
            for short in 0..5 {
                let arranged = behind(&module(), &called, short).unwrap();
                assert_eq!(run(&arranged, &mut Vec::new()), 3, "{called:?} {short}");
                assert_eq!(count(&arranged).unwrap().functions, 3, "{called:?} {short}");
            }
        }
    }

    #[test]
    fn what_is_called_comes_first() {
        let arranged = behind(&module(), &[2, 1], 0).unwrap();
        let mut entered = Vec::new();
        run(&traced(&arranged).unwrap(), &mut entered);
        assert_eq!(entered, [0, 2, 1], "three, one, two");
    }
}

// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

// solhint-disable avoid-low-level-calls

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SluiceToken} from "../SluiceToken.sol";
import {IERC20Registrable} from "../interfaces/IERC20Registrable.sol";
import {SmartAccount} from "../testing/SmartAccount.t.sol";
import {TokenTest} from "../testing/TokenTest.t.sol";

contract ERC20RegistrableTest is TokenTest {
    bytes private constant ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-_";

    function _register(address account, string memory name) private {
        vm.prank(account);
        token.register(name);
    }

    function testRegistersAndGrants() public {
        vm.expectEmit(address(token));
        emit IERC20.Transfer(address(0), alice, GRANT);
        vm.expectEmit(address(token));
        emit IERC20Registrable.Registered(alice, "alice", GRANT, token.sequence() + 1);
        _register(alice, "alice");

        vm.assertTrue(token.isRegistered(alice), "not registered");
        vm.assertEq(token.nameOf(alice), "alice", "name");
        vm.assertEq(token.balanceOf(alice), GRANT, "balance");
        vm.assertEq(token.grantBudget(), GRANT_BUDGET - GRANT, "budget");
    }

    function testSomebodyElseIsNotRegistered() public {
        _register(alice, "alice");
        vm.assertEq(token.isRegistered(bob), false, "registered");
        vm.assertEq(token.nameOf(bob), "", "name");
    }

    function testTwoAccountsMayHaveTheSameName() public {
        _register(alice, "same");
        _register(bob, "same");
        vm.assertEq(token.nameOf(alice), token.nameOf(bob), "names");
    }

    function testRegisteringTwiceReverts() public {
        _register(alice, "alice");
        vm.expectRevert(abi.encodeWithSelector(IERC20Registrable.AlreadyRegistered.selector, alice));
        _register(alice, "alice-again");
    }

    function testFuzzEveryNameOfTheAlphabetIsKept(uint256 length, bytes32 seed) public {
        bytes memory name = new bytes(_bound(length, 1, 32));
        for (uint256 i = 0; i < name.length; ++i) name[i] = ALPHABET[uint8(seed[i]) % ALPHABET.length];
        _register(alice, string(name));
        vm.assertEq(token.nameOf(alice), string(name), "name");
    }

    function testFuzzAnyOtherByteReverts(uint256 length, uint256 position, bytes1 wrong) public {
        bytes memory name = new bytes(_bound(length, 1, 32));
        for (uint256 i = 0; i < name.length; ++i) name[i] = "a";
        position = _bound(position, 0, name.length - 1);
        for (uint256 i = 0; i < ALPHABET.length; ++i) vm.assume(wrong != ALPHABET[i]);
        name[position] = wrong;
        vm.expectRevert(abi.encodeWithSelector(IERC20Registrable.InvalidName.selector, string(name)));
        _register(alice, string(name));
    }

    function testEveryByteIsJudgedAsTheAlphabetSays() public {
        uint256 state = vm.snapshotState();
        for (uint256 value = 0; value < 256; ++value) {
            bytes1 c = bytes1(uint8(value));
            bool expected = false;
            for (uint256 i = 0; i < ALPHABET.length; ++i) expected = expected || c == ALPHABET[i];
            vm.prank(alice);
            (bool success, ) = address(token).call(
                abi.encodeCall(token.register, (string(abi.encodePacked("x", c, "y"))))
            );
            vm.assertEq(success, expected, "byte");
            vm.revertToState(state);
            state = vm.snapshotState();
        }
    }

    function testFuzzALongerNameReverts(uint256 length) public {
        bytes memory name = new bytes(_bound(length, 33, 300));
        for (uint256 i = 0; i < name.length; ++i) name[i] = "a";
        vm.expectRevert(abi.encodeWithSelector(IERC20Registrable.InvalidName.selector, string(name)));
        _register(alice, string(name));
    }

    function testAnEmptyNameReverts() public {
        vm.expectRevert(abi.encodeWithSelector(IERC20Registrable.InvalidName.selector, ""));
        _register(alice, "");
    }

    function testTheLastGrantIsWhatIsLeftAndThenNothing() public {
        _register(address(1), "one");
        _register(address(2), "two");
        vm.assertEq(token.grant(), GRANT_BUDGET - 2 * GRANT, "the last grant");
        _register(address(3), "three");
        vm.assertEq(token.balanceOf(address(3)), GRANT_BUDGET - 2 * GRANT, "the third one's balance");

        vm.expectEmit(address(token));
        emit IERC20Registrable.Registered(address(4), "four", 0, token.sequence() + 1);
        vm.recordLogs();
        _register(address(4), "four");
        vm.assertEq(vm.getRecordedLogs().length, 1, "a transfer of nothing is announced");
        vm.assertTrue(token.isRegistered(address(4)), "the fourth one is not registered");
        vm.assertEq(token.totalSupply(), GRANT_BUDGET, "supply");
    }

    function testFuzzGrantsNeverExceedBudgetNorCap(
        uint256 amount,
        uint256 budget,
        uint256 room,
        uint256 people
    ) public {
        SluiceToken.Terms memory terms = _terms();
        terms.grants.amount = amount = _bound(amount, 0, 2 * CAP);
        terms.grants.budget = budget = _bound(budget, 0, 2 * CAP);
        token = _deploy(terms);
        _giveRoles(token);
        room = _bound(room, CAP - LIMIT, CAP);
        _mint(carol, CAP - room);
        people = _bound(people, 1, 5);

        uint256 left = budget < room ? budget : room;
        for (uint160 i = 1; i <= people; ++i) {
            uint256 expected = amount < left ? amount : left;
            vm.assertEq(token.grant(), expected, "the next grant");
            _register(address(i << 32), "somebody");
            vm.assertEq(token.balanceOf(address(i << 32)), expected, "balance");
            left -= expected;
        }
    }

    function testFuzzRegistersForWhoeverSigned(uint256 key, address relayer, uint256 deadline) public {
        key = _bound(key, 1, type(uint128).max);
        address account = vm.addr(key);
        vm.assume(account.code.length == 0);
        deadline = _bound(deadline, block.timestamp, type(uint256).max);
        bytes memory signature = _signRegistration(key, account, "signed", 0, deadline);
        vm.expectEmit(address(token));
        emit IERC20Registrable.Registered(account, "signed", GRANT, token.sequence() + 1);
        vm.prank(relayer);
        token.registerFor(account, "signed", deadline, signature);
        vm.assertEq(token.nameOf(account), "signed", "name");
        vm.assertEq(token.balanceOf(account), GRANT, "balance");
        vm.assertEq(token.nonces(account), 1, "nonce");
    }

    function testFuzzAnExpiredSignatureReverts(uint256 deadline) public {
        deadline = _bound(deadline, 0, block.timestamp - 1);
        bytes memory signature = _signRegistration(ALICE_KEY, alice, "alice", 0, deadline);
        vm.expectRevert(abi.encodeWithSelector(IERC20Registrable.RegistrationExpired.selector, deadline));
        token.registerFor(alice, "alice", deadline, signature);
    }

    function testFuzzSomebodyElsesSignatureReverts(uint256 key) public {
        key = _bound(key, 1, type(uint128).max);
        vm.assume(key != ALICE_KEY);
        _refuses(_signRegistration(key, alice, "alice", 0, block.timestamp));
    }

    function testFuzzASignatureForAnotherNonceReverts(uint256 nonce) public {
        vm.assume(nonce != 0);
        _refuses(_signRegistration(ALICE_KEY, alice, "alice", nonce, block.timestamp));
    }

    function testFuzzASignatureForAnotherDeadlineReverts(uint256 deadline) public {
        vm.assume(deadline != block.timestamp);
        _refuses(_signRegistration(ALICE_KEY, alice, "alice", 0, deadline));
    }

    function testASignatureForAnotherNameReverts() public {
        _refuses(_signRegistration(ALICE_KEY, alice, "alicia", 0, block.timestamp));
    }

    function testASignatureForAnotherAccountReverts() public {
        _refuses(_signRegistration(ALICE_KEY, bob, "alice", 0, block.timestamp));
    }

    function testASignatureForAnotherTokenReverts() public {
        SluiceToken first = token;
        token = _deploy(_terms());
        bytes memory signature = _signRegistration(ALICE_KEY, alice, "alice", 0, block.timestamp);
        token = first;
        _refuses(signature);
    }

    function testASignatureForAnotherChainReverts() public {
        uint256 here = block.chainid;
        vm.chainId(here + 1);
        bytes memory signature = _signRegistration(ALICE_KEY, alice, "alice", 0, block.timestamp);
        vm.chainId(here);
        _refuses(signature);
    }

    function testGarbageInsteadOfASignatureReverts() public {
        _refuses(hex"");
        _refuses(hex"c0ffee");
    }

    function _refuses(bytes memory signature) private {
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Registrable.InvalidRegistrationSignature.selector, alice, signature)
        );
        token.registerFor(alice, "alice", block.timestamp, signature);
        vm.assertEq(token.isRegistered(alice), false, "registered");
    }

    function testAPermitUsesUpTheSameNonce() public {
        bytes memory signature = _signRegistration(ALICE_KEY, alice, "alice", 0, block.timestamp);
        (uint8 v, bytes32 r, bytes32 s) = _signPermit(ALICE_KEY, bob, 1, block.timestamp);
        token.permit(alice, bob, 1, block.timestamp, v, r, s);
        _refuses(signature);
    }

    function testRegistersASmartAccountOnItsOwnersSignature() public {
        address account = address(new SmartAccount(alice));
        bytes memory signature = _signRegistration(ALICE_KEY, account, "vault", 0, block.timestamp);
        token.registerFor(account, "vault", block.timestamp, signature);
        vm.assertEq(token.nameOf(account), "vault", "name");
    }

    function testASmartAccountThatDoesNotAgreeIsNotRegistered() public {
        address account = address(new SmartAccount(bob));
        bytes memory signature = _signRegistration(ALICE_KEY, account, "vault", 0, block.timestamp);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Registrable.InvalidRegistrationSignature.selector, account, signature)
        );
        token.registerFor(account, "vault", block.timestamp, signature);
    }

    function testAContractThatSignsNothingIsNotRegistered() public {
        bytes memory signature = _signRegistration(ALICE_KEY, address(token), "token", 0, block.timestamp);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Registrable.InvalidRegistrationSignature.selector, address(token), signature)
        );
        token.registerFor(address(token), "token", block.timestamp, signature);
    }
}
